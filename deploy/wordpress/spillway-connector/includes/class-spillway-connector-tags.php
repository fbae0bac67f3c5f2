<?php
/**
 * Tags: the contact's, and what the site's own hooks do to them.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Stores a contact's tags. It also remembers on the user which tags the site itself
 * has given and taken, until Spillway confirms that the CRM knows of them. Until
 * then each pass stores the contact's tags with these changes, since it may have
 * read the CRM before.
 *
 * Such changes come from enrolments: hooks of WP Fusion's actions that give and
 * take tags of their own. The tag of a created user is one, too.
 */
final class Spillway_Connector_Tags {

	const MARK = 'spillway_tags';

	/**
	 * Tags that hooks have given and taken in this request and that are not yet
	 * remembered, by contact id: lists by "applied" and "removed".
	 *
	 * @var array[]
	 */
	private $changes = array();

	/**
	 * WP Fusion, when it is active.
	 *
	 * @var Spillway_Connector_Fusion|null
	 */
	private $fusion;

	/**
	 * Makes the tags of one request.
	 *
	 * @param Spillway_Connector_Fusion|null $fusion WP Fusion, when it is active.
	 */
	public function __construct( $fusion ) {
		$this->fusion = $fusion;
		if ( null !== $fusion ) {
			$fusion->tell( array( $this, 'note' ) );
		}
	}

	/**
	 * The tags that a new user has from the beginning.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return array The tags by their meta key, empty when there are none.
	 */
	public static function first( Spillway_Connector_Contact $contact ) {
		$tags = array_values( array_unique( array_merge( (array) $contact->tags, array_filter( array( $contact->created_tag ), 'strlen' ) ) ) );
		return array() === $tags ? array() : array( Spillway_Connector_Keys::tags() => $tags );
	}

	/**
	 * The mark that a new user has from the beginning, so that whatever happens
	 * then its tag reaches the CRM.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @return array The mark by its meta key, empty when there is none.
	 */
	public static function first_mark( Spillway_Connector_Contact $contact ) {
		return '' === $contact->created_tag ? array() : array( Spillway_Connector_Keys::own( self::MARK ) => self::entry( array(), array(), $contact->created_tag ) );
	}

	/**
	 * Takes note of tags that a hook gives or takes.
	 *
	 * @param string   $contact_id The contact.
	 * @param string[] $tags       The tags.
	 * @param bool     $removed    Whether they are taken.
	 */
	public function note( $contact_id, array $tags, $removed ) {
		$tags = array_map( 'strval', $tags );
		$last = isset( $this->changes[ $contact_id ] ) ? $this->changes[ $contact_id ] : self::entry( array(), array(), '' );

		$this->changes[ $contact_id ] = self::merged( $last, $removed ? array() : $tags, $removed ? $tags : array() );
	}

	/**
	 * Forgets what hooks have done for a contact that is about to be stored: an
	 * earlier try was taken back.
	 *
	 * @param string $contact_id The contact.
	 */
	public function begin( $contact_id ) {
		unset( $this->changes[ $contact_id ] );
	}

	/**
	 * Stores a contact's tags: a list of texts, no row when there are none.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @throws Spillway_Connector_Failure When they can't be stored.
	 */
	public function store( Spillway_Connector_Contact $contact, $user_id ) {
		Spillway_Connector_Surroundings::go_home();
		$tags = $this->wanted( $contact, $user_id );
		if ( null === $tags ) {
			return;
		}
		$key = Spillway_Connector_Keys::tags();
		$has = get_user_meta( $user_id, $key, true );
		if ( null !== $this->fusion ) {
			// It takes another order for a change. What it and the hooks of its
			// actions make of the tags stays.
			$this->fusion->set_tags( $user_id, self::are_same( $has, $tags ) ? $has : $tags );
		} elseif ( array() === $tags ) {
			delete_user_meta( $user_id, $key );
		} elseif ( $has !== $tags && ! update_user_meta( $user_id, $key, wp_slash( $tags ) ) && get_user_meta( $user_id, $key, true ) !== sanitize_meta( $key, $tags, 'user' ) ) {
			throw new Spillway_Connector_Failure( 'refused', 'The database or a plugin refuses the tags, so nothing of the contact was stored.' );
		}
	}

	/**
	 * What storing a contact's tags would change.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return array[]|null Tags that would be added and removed; null when nothing
	 *                      would be stored.
	 */
	public function difference( Spillway_Connector_Contact $contact, $user_id ) {
		$tags = $this->wanted( $contact, $user_id );
		$has  = get_user_meta( $user_id, Spillway_Connector_Keys::tags(), true );
		if ( null === $tags || $has === $tags || ( null !== $this->fusion && self::are_same( $has, $tags ) && array_values( $has ) === $has ) ) {
			return null;
		}
		$has = array_map( 'strval', array_filter( is_array( $has ) ? $has : array(), 'is_scalar' ) );
		return array( array_values( array_diff( $tags, $has ) ), array_values( array_diff( $has, $tags ) ) );
	}

	/**
	 * Whether a user has tags already, in whatever order.
	 *
	 * @param mixed    $has  What the user has.
	 * @param string[] $tags The tags.
	 * @return bool
	 */
	private static function are_same( $has, array $tags ) {
		return is_array( $has ) && count( $has ) === count( $tags ) && array() === array_diff( $tags, $has );
	}

	/**
	 * The tags that a user is to have.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return string[]|null Null when the user's stay as they are.
	 */
	private function wanted( Spillway_Connector_Contact $contact, $user_id ) {
		if ( null === $contact->tags ) {
			return null;
		}
		$changes = $this->changes( $contact->id, $user_id );
		$tags    = null === $this->fusion ? $contact->tags : $this->fusion->loaded_tags( $contact->tags, $user_id, $contact->id );
		$given   = array_merge( $changes['applied'], '' === $changes['created'] ? array() : array( $changes['created'] ) );
		$tags    = array_values( array_unique( array_merge( array_diff( $tags, $changes['removed'] ), $given ) ) );
		return array() === $tags && array() === get_user_meta( $user_id, Spillway_Connector_Keys::tags(), false ) ? null : $tags;
	}

	/**
	 * Remembers what hooks have done, but for what the CRM shows already. To be
	 * called when all hooks have run.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 */
	public function settle( Spillway_Connector_Contact $contact, $user_id ) {
		Spillway_Connector_Surroundings::go_home();
		$changes = $this->changes( $contact->id, $user_id );
		if ( null !== $contact->tags ) {
			$changes = self::entry(
				array_diff( $changes['applied'], $contact->tags ),
				array_intersect( $changes['removed'], $contact->tags ),
				in_array( $changes['created'], $contact->tags, true ) ? '' : $changes['created']
			);
		}
		self::remember( $user_id, $changes );
		unset( $this->changes[ $contact->id ] );
		self::close_gaps( $user_id );
		$this->settle_others();
	}

	/**
	 * Makes a list of a user's tags again. WP Fusion leaves gaps in it when a
	 * hook takes a tag, and would hold the same tags for changed ones next time.
	 *
	 * @param int $user_id The user.
	 */
	private static function close_gaps( $user_id ) {
		$tags = get_user_meta( $user_id, Spillway_Connector_Keys::tags(), true );
		if ( is_array( $tags ) && array_values( $tags ) !== $tags ) {
			update_user_meta( $user_id, Spillway_Connector_Keys::tags(), wp_slash( array_values( $tags ) ) );
		}
	}

	/**
	 * Remembers what hooks have done to other contacts than the one that is being
	 * stored, such as a group's leader. Their own next pass brings it to the CRM.
	 */
	public function settle_others() {
		foreach ( array_keys( $this->changes ) as $contact_id ) {
			$user_id = null === $this->fusion ? 0 : $this->fusion->user_of( (string) $contact_id );
			if ( $user_id > 0 ) {
				self::remember( $user_id, $this->changes( $contact_id, $user_id ) );
			}
			unset( $this->changes[ $contact_id ] );
		}
	}

	/**
	 * What the answer says of tags that the CRM is to be told of. The tag of a
	 * created user says that its password is in the CRM, so until that is
	 * confirmed it is for the creation alone.
	 *
	 * @param Spillway_Connector_Contact $contact The contact.
	 * @param int                        $user_id Its user.
	 * @return array[] Lists by "applied_tags" and "removed_tags", without empty ones.
	 */
	public static function untold( Spillway_Connector_Contact $contact, $user_id ) {
		$entry = self::remembered( $user_id );
		if ( '' !== $entry['created'] && ( 'add' === $contact->action || ! Spillway_Connector_Password::is_unconfirmed( $user_id ) ) ) {
			$entry['applied'][] = $entry['created'];
		}
		return array_filter(
			array(
				'applied_tags' => $entry['applied'],
				'removed_tags' => $entry['removed'],
			)
		);
	}

	/**
	 * Forgets what the CRM has been told of.
	 *
	 * @param Spillway_Connector_Contact $contact The confirmation.
	 * @param int                        $user_id Its user.
	 * @return bool Whether there was any of it.
	 */
	public static function confirm( Spillway_Connector_Contact $contact, $user_id ) {
		$entry = self::remembered( $user_id );
		$left  = self::entry(
			array_diff( $entry['applied'], $contact->applied_tags ),
			array_diff( $entry['removed'], $contact->removed_tags ),
			in_array( $entry['created'], $contact->applied_tags, true ) ? '' : $entry['created']
		);
		if ( $left === $entry ) {
			return false;
		}
		self::remember( $user_id, $left );
		return true;
	}

	/**
	 * What is remembered of a user, and what hooks have done since.
	 *
	 * @param string $contact_id The contact.
	 * @param int    $user_id    Its user.
	 * @return array
	 */
	private function changes( $contact_id, $user_id ) {
		$entry = self::remembered( $user_id );
		if ( ! isset( $this->changes[ $contact_id ] ) ) {
			return $entry;
		}
		return self::merged( $entry, $this->changes[ $contact_id ]['applied'], $this->changes[ $contact_id ]['removed'] );
	}

	/**
	 * What is remembered of a user.
	 *
	 * @param int $user_id The user.
	 * @return array
	 */
	private static function remembered( $user_id ) {
		$entry = get_user_meta( $user_id, Spillway_Connector_Keys::own( self::MARK ), true );
		if ( ! is_array( $entry ) || ! isset( $entry['applied'], $entry['removed'], $entry['created'] ) ) {
			return self::entry( array(), array(), '' );
		}
		return self::entry( (array) $entry['applied'], (array) $entry['removed'], (string) $entry['created'] );
	}

	/**
	 * Remembers changes of a user's tags.
	 *
	 * @param int   $user_id The user.
	 * @param array $entry   The changes; empty ones are a row less.
	 */
	private static function remember( $user_id, array $entry ) {
		if ( self::entry( array(), array(), '' ) !== $entry ) {
			update_user_meta( $user_id, Spillway_Connector_Keys::own( self::MARK ), wp_slash( $entry ) );
		} elseif ( metadata_exists( 'user', $user_id, Spillway_Connector_Keys::own( self::MARK ) ) ) {
			delete_user_meta( $user_id, Spillway_Connector_Keys::own( self::MARK ) );
		}
	}

	/**
	 * Changes with further ones after them.
	 *
	 * @param array    $entry   The changes.
	 * @param string[] $applied Tags that were given then.
	 * @param string[] $removed Tags that were taken then.
	 * @return array
	 */
	private static function merged( array $entry, array $applied, array $removed ) {
		return self::entry(
			array_merge( array_diff( $entry['applied'], $removed ), $applied ),
			array_merge( array_diff( $entry['removed'], $applied ), $removed ),
			$entry['created']
		);
	}

	/**
	 * Changes of a user's tags.
	 *
	 * @param string[] $applied Tags given.
	 * @param string[] $removed Tags taken.
	 * @param string   $created The tag of a created user, empty for none.
	 * @return array
	 */
	private static function entry( array $applied, array $removed, $created ) {
		return array(
			'applied' => array_values( array_unique( $applied ) ),
			'removed' => array_values( array_unique( $removed ) ),
			'created' => $created,
		);
	}
}
