<?php
/**
 * When Spillway came last.
 *
 * @package Spillway_Connector
 */

defined( 'ABSPATH' ) || exit;

/**
 * Notes the last batch in one option that WordPress does not load with each
 * page: two queries a batch, after everything in it is committed.
 */
final class Spillway_Connector_Visits {

	const OPTION = 'spillway_connector_last_batch';

	/**
	 * Notes a batch. Nothing depends on it, so a refusal of the database does no
	 * harm.
	 *
	 * @param array $results The results of the batch's contacts.
	 */
	public static function note( array $results ) {
		$counts = array_count_values( array_column( $results, 'outcome' ) );
		update_option(
			self::OPTION,
			array(
				'at'       => time(),
				'contacts' => count( $results ),
				'failed'   => isset( $counts['failed'] ) ? $counts['failed'] : 0,
				'deferred' => isset( $counts['deferred'] ) ? $counts['deferred'] : 0,
			),
			false
		);
	}

	/**
	 * Tells of the last batch.
	 *
	 * @return string A translated sentence.
	 */
	public static function tell() {
		$last = get_option( self::OPTION );
		if ( ! is_array( $last ) || empty( $last['at'] ) ) {
			return __( 'Spillway has not stored any contact yet.', 'spillway-connector' );
		}
		return sprintf(
			/* translators: 1: date and time, 2: number of contacts, 3: how many of them failed, 4: how many were put off */
			__( 'Spillway last came on %1$s with %2$d contacts; %3$d failed, %4$d were put off.', 'spillway-connector' ),
			self::date( (int) $last['at'] ),
			(int) $last['contacts'],
			(int) $last['failed'],
			(int) $last['deferred']
		);
	}

	/**
	 * A time as this site shows times.
	 *
	 * @param int $time Seconds since 1970.
	 * @return string
	 */
	public static function date( $time ) {
		return (string) wp_date( get_option( 'date_format' ) . ' ' . get_option( 'time_format' ), $time );
	}
}
