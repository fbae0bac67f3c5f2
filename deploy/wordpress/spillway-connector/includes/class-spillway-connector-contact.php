<?php
/**
 * One contact of a request.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * A contact as the request has it, with members of the right types. Unknown
 * members are ignored, null counts as absent.
 */
final class Spillway_Connector_Contact {

	/**
	 * The CRM's contact id.
	 *
	 * @var string
	 */
	public $id = '';

	/**
	 * One of "add", "update", "update_tags", "confirm".
	 *
	 * @var string
	 */
	public $action = '';

	/**
	 * Numbers the pass that sends the contact; zero: it has no number, as a
	 * confirmation. A float holds all of it on 32 bits, too.
	 *
	 * @var float
	 */
	public $as_of = 0.0;

	/**
	 * Names the creation of a user. It is the same in every repetition.
	 *
	 * @var string
	 */
	public $request_id = '';

	/**
	 * Finds the user when the id does not, and is the address of a new one.
	 *
	 * @var string
	 */
	public $email = '';

	/**
	 * Another contact, which the CRM no longer has. This contact may take over its
	 * user.
	 *
	 * @var string
	 */
	public $replaces = '';

	/**
	 * What to store, by WordPress key: clean strings and lists of them, without
	 * keys that may not be written and values that do not count.
	 *
	 * @var array
	 */
	public $fields = array();

	/**
	 * Notes on fields that are not to be stored.
	 *
	 * @var string[]
	 */
	public $notes = array();

	/**
	 * The user's new tags; null leaves them alone.
	 *
	 * @var string[]|null
	 */
	public $tags = null;

	/**
	 * The contact's own login, for a creation.
	 *
	 * @var string
	 */
	public $login = '';

	/**
	 * Whether the login is the contact's own. If such a login is taken, the
	 * contact fails; one that the site's own code has made is replaced.
	 *
	 * @var bool
	 */
	public $own_login = true;

	/**
	 * The password, as a person types it.
	 *
	 * @var string
	 */
	public $password = '';

	/**
	 * Whether Spillway made the password.
	 *
	 * @var bool
	 */
	public $generated = false;

	/**
	 * Slug or title of the role asked for; empty: none.
	 *
	 * @var string
	 */
	public $role = '';

	/**
	 * Whether a new user gets the login-details mail.
	 *
	 * @var bool
	 */
	public $notify = false;

	/**
	 * A tag that a new user gets; empty: none.
	 *
	 * @var string
	 */
	public $created_tag = '';

	/**
	 * Whether WP Fusion's integrations want none of its fields to be stored, and
	 * nobody to be created.
	 *
	 * @var bool
	 */
	public $cancelled = false;

	/**
	 * Tags that the CRM has been told were given, in a confirmation.
	 *
	 * @var string[]
	 */
	public $applied_tags = array();

	/**
	 * Tags that the CRM has been told were taken, in a confirmation.
	 *
	 * @var string[]
	 */
	public $removed_tags = array();

	/**
	 * Reads a contact of a request.
	 *
	 * @param string $id   The contact's id.
	 * @param array  $data The contact's members.
	 * @return self
	 * @throws Spillway_Connector_Failure When a member has the wrong type.
	 */
	public static function read( $id, array $data ) {
		$contact             = new self();
		$contact->id         = $id;
		$contact->action     = self::text( $data, 'action' );
		$contact->as_of      = 'confirm' === $contact->action ? 0.0 : self::number( $data, 'as_of' );
		$contact->request_id = self::text( $data, 'request_id' );
		$contact->email      = trim( self::text( $data, 'email' ) );
		$contact->replaces   = self::text( $data, 'replaces' );
		$contact->login      = self::text( $data, 'user_login' );
		$contact->password   = self::text( $data, 'user_pass' );
		$contact->role       = self::text( $data, 'role' );
		$contact->generated  = self::flag( $data, 'generated_pass' );
		$contact->notify     = self::flag( $data, 'notify' );

		if ( '' !== $contact->password && ! Spillway_Connector_Password::logs_in( $contact->password ) ) {
			$contact->password = '';
			$contact->notes[]  = Spillway_Connector_Fields::kept( 'user_pass' );
		}
		$contact->created_tag = self::text( $data, 'created_tag' );
		foreach ( array( 'applied_tags', 'removed_tags' ) as $member ) {
			$contact->$member = isset( $data[ $member ] ) ? self::texts( $data[ $member ], $member ) : array();
		}
		if ( ! in_array( $contact->action, array( 'add', 'update', 'update_tags', 'confirm' ), true ) ) {
			throw new Spillway_Connector_Failure( 'unknown_action', 'The action is none of add, update, update_tags, confirm.' );
		}
		if ( isset( $data['tags'] ) ) {
			$contact->tags = array_values( array_unique( self::texts( $data['tags'], 'tags' ) ) );
		}
		if ( isset( $data['fields'] ) ) {
			if ( ! is_array( $data['fields'] ) ) {
				throw Spillway_Connector_Failure::invalid_contact( 'fields' );
			}
			$raw = isset( $data['raw'] ) ? self::texts( $data['raw'], 'raw' ) : array();

			list( $contact->fields, $notes ) = Spillway_Connector_Fields::accept( $data['fields'], $raw );

			$contact->notes = array_merge( $contact->notes, $notes );
			if ( '' === $contact->role && isset( $data['fields']['role'] ) ) {
				$contact->role = self::first_text( $data['fields']['role'] );
			}
		}
		return $contact;
	}

	/**
	 * The address that the contact's fields ask for, empty when they ask for none.
	 *
	 * @return string
	 */
	public function new_email() {
		return isset( $this->fields['user_email'] ) ? $this->fields['user_email'] : '';
	}

	/**
	 * A field that is one text.
	 *
	 * @param string $key The WordPress key.
	 * @return string Empty when it is missing or a list.
	 */
	public function field( $key ) {
		return isset( $this->fields[ $key ] ) && is_string( $this->fields[ $key ] ) ? $this->fields[ $key ] : '';
	}

	/**
	 * Reads a member that is a text.
	 *
	 * @param array  $data   The contact's members.
	 * @param string $member Name of the member.
	 * @return string Empty when it is absent.
	 * @throws Spillway_Connector_Failure When it is no text.
	 */
	private static function text( array $data, $member ) {
		if ( ! isset( $data[ $member ] ) ) {
			return '';
		}
		if ( ! is_string( $data[ $member ] ) && ! is_int( $data[ $member ] ) ) {
			throw Spillway_Connector_Failure::invalid_contact( $member );
		}
		return (string) $data[ $member ];
	}

	/**
	 * Reads a member that is true or false.
	 *
	 * @param array  $data   The contact's members.
	 * @param string $member Name of the member.
	 * @return bool False when it is absent.
	 * @throws Spillway_Connector_Failure When it is neither.
	 */
	private static function flag( array $data, $member ) {
		if ( ! isset( $data[ $member ] ) ) {
			return false;
		}
		if ( ! is_bool( $data[ $member ] ) ) {
			throw Spillway_Connector_Failure::invalid_contact( $member );
		}
		return $data[ $member ];
	}

	/**
	 * Reads a member that is a whole number, not below zero.
	 *
	 * @param array  $data   The contact's members.
	 * @param string $member Name of the member.
	 * @return float Zero when it is absent.
	 * @throws Spillway_Connector_Failure When it is no such number.
	 */
	private static function number( array $data, $member ) {
		if ( ! isset( $data[ $member ] ) ) {
			return 0.0;
		}
		$number = $data[ $member ];
		if ( ( ! is_int( $number ) && ! is_float( $number ) ) || $number < 0 || floor( $number ) !== (float) $number ) {
			throw Spillway_Connector_Failure::invalid_contact( $member );
		}
		return (float) $number;
	}

	/**
	 * Reads a list of texts; empty ones are left out.
	 *
	 * @param mixed  $values What the request has.
	 * @param string $member Name of the member.
	 * @return string[]
	 * @throws Spillway_Connector_Failure When it is no such list.
	 */
	private static function texts( $values, $member ) {
		if ( ! is_array( $values ) ) {
			throw Spillway_Connector_Failure::invalid_contact( $member );
		}
		$texts = array();
		foreach ( $values as $value ) {
			if ( ! is_string( $value ) && ! is_int( $value ) ) {
				throw Spillway_Connector_Failure::invalid_contact( $member );
			}
			if ( '' !== (string) $value ) {
				$texts[] = (string) $value;
			}
		}
		return $texts;
	}

	/**
	 * The first text of a role field, which some CRMs hold as a list.
	 *
	 * @param mixed $value A text or a list.
	 * @return string
	 */
	private static function first_text( $value ) {
		if ( is_array( $value ) ) {
			$value = reset( $value );
		}
		return is_string( $value ) ? $value : '';
	}
}
